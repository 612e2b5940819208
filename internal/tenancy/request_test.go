package tenancy

import (
	"testing"
	"time"
)

func TestRank(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	peers := []Peer{{"c", at(3)}, {"a", at(1)}, {"b", at(2)}, {"b2", at(2)}}
	for _, tc := range []struct {
		name  string
		self  Peer
		peers []Peer
		want  int
	}{
		{"alone", Peer{"a", at(1)}, nil, 1},
		{"the oldest", Peer{"a", at(1)}, peers, 1},
		{"the second", Peer{"b", at(2)}, peers, 2},
		{"equally old, by name", Peer{"b2", at(2)}, peers, 3},
		{"the youngest", Peer{"c", at(3)}, peers, 4},
		{"not among the peers yet", Peer{"d", at(4)}, peers, 5},
		{"recreated while the old one is still listed", Peer{"a", at(9)}, peers, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Rank(tc.self, tc.peers); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
	ranks := Ranks(peers)
	for _, peer := range peers {
		if ranks[peer.Name] != Rank(peer, peers) {
			t.Errorf("%s: rank %d among all, and %d alone", peer.Name, ranks[peer.Name], Rank(peer, peers))
		}
	}
}
