package kongtest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// unsupportedMediaType is the answer to a body of a type that Kong does not read.
func unsupportedMediaType() *response { return htmlPage(http.StatusUnsupportedMediaType) }

// htmlPage is what nginx answers where it does not ask Kong's code.
func htmlPage(status int) *response {
	title := itoa(status) + " " + http.StatusText(status)
	return nginxPage(status, title, "<center><h1>"+title+"</h1></center>\r\n")
}

func nginxPage(status int, title, center string) *response {
	return &response{
		status:      status,
		contentType: "text/html; charset=UTF-8",
		raw: []byte("<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n" + center +
			"</body>\r\n</html>\r\n"),
	}
}

// plainHTTP is nginx's answer to a request without TLS on a port with TLS.
func plainHTTP() *response {
	const why = "The plain HTTP request was sent to HTTPS port"
	return nginxPage(http.StatusBadRequest, "400 "+why, "<center><h1>400 Bad Request</h1></center>\r\n<center>"+why+"</center>\r\n")
}

// nginxListener makes connections answer as nginx does where Go's server answers
// before any handler: with an HTML page. A malformed escape in the path is one case.
type nginxListener struct{ net.Listener }

// Accept implements net.Listener.
func (l nginxListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return nginxConn{conn}, nil
}

type nginxConn struct{ net.Conn }

// refusedByGo is the beginning of an answer that Go's server makes by itself. An
// answer of a handler begins with another header.
var refusedByGo = []byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

// Write implements net.Conn. Go's server writes its own answers in one piece.
func (c nginxConn) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(b, refusedByGo) {
		return c.Conn.Write(b)
	}
	return len(b), writePage(c.Conn, htmlPage(http.StatusBadRequest))
}

// Read implements net.Conn.
func (c nginxConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) && notTLS.Conn != nil {
		_ = writePage(notTLS.Conn, plainHTTP()) // the connection is lost anyway
	}
	return n, err
}

func writePage(conn net.Conn, page *response) error {
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		page.status, http.StatusText(page.status), page.contentType, len(page.raw), page.raw)
	return err
}
