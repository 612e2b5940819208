package adminapi

import "testing"

func TestCanonicalURL(t *testing.T) {
	same := map[string][]string{
		"http://kong.ns.svc": {
			"http://kong.ns.svc", "http://kong.ns.svc/", "HTTP://KONG.ns.Svc", "http://kong.ns.svc:80", "http://kong.ns.svc.:080//", "http://kong.ns.svc:",
		},
		"https://kong:8444/Admin": {"https://kong:8444/Admin", "HTTPS://Kong:8444/Admin/", "https://kong.:8444/Admin//"},
		"https://kong":            {"https://kong:443", "https://kong/"},
		"http://kong:443":         {"http://kong:443/"},
		"http://[::1]:8001":       {"http://[::1]:8001", "http://[0:0:0:0:0:0:0:1]:8001/", "http://[::0001]:08001"},
		"http://[fe80::1]":        {"http://[FE80::1]:80"},
		"http://10.0.0.1":         {"http://10.0.0.1:80/", "http://[::ffff:10.0.0.1]"},
		"nonsense":                {"nonsense"},
		"http://u:p@kong/":        {"http://u:p@kong/"},
	}
	seen := map[string]bool{}
	for want, urls := range same {
		for _, u := range urls {
			got := Settings{AdminURL: u}.CanonicalURL()
			if got != want {
				t.Errorf("%s: got %s, want %s", u, got, want)
			}
			if again := CanonicalURL(got); again != got {
				t.Errorf("%s: got %s the second time", got, again)
			}
			seen[got] = true
		}
	}
	if len(seen) != len(same) {
		t.Errorf("%d of %d differ", len(seen), len(same))
	}
}
