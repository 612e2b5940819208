package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// isTerminal reports whether somebody looks at a stream.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Colour reports whether the output may have colours: on a terminal, unless NO_COLOR is set.
func (f *Factory) Colour() bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || runtime.GOOS == "windows" && os.Getenv("WT_SESSION") == "" {
		return false
	}
	return isTerminal(f.Out)
}

// Confirm asks a question that --yes answers. Without a terminal it is an error.
func (f *Factory) Confirm(question string) (bool, error) {
	if !isTerminal(f.In) {
		return false, errors.New("there is no terminal to ask on: pass --yes to go on without a question")
	}
	fmt.Fprint(f.ErrOut, question+" [y/N] ")
	answer, err := bufio.NewReader(io.LimitReader(f.In, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// progressDelay is how long a command works before it shows a bar.
const progressDelay = 2 * time.Second

// Progress is a bar on the terminal for what takes longer than two seconds. It is not safe for
// concurrent use.
type Progress struct {
	out     io.Writer
	shown   bool
	text    string
	total   int
	done    int
	started time.Time
	now     func() time.Time
	bar     *progressbar.ProgressBar
}

// NewProgress returns the progress of so many steps. Close ends it.
func (f *Factory) NewProgress(text string, total int) *Progress {
	return &Progress{out: f.ErrOut, shown: isTerminal(f.ErrOut), text: text, total: total, started: time.Now(), now: time.Now}
}

// Step says that one more step is done.
func (p *Progress) Step() {
	p.done++
	if !p.shown || p.bar == nil && p.now().Sub(p.started) < progressDelay {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(p.total, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(p.text),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	}
	_ = p.bar.Set(p.done) // what it draws on is gone then
}

// Close takes the bar away.
func (p *Progress) Close() {
	if p.bar != nil {
		_ = p.bar.Clear() // as above
	}
}
