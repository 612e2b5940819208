package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// teardownTimeout is the timeout for each part of the teardown.
const teardownTimeout = 30 * time.Second

// environment is what the demo runs in: a cluster, a Kong, and the operator between them.
type environment struct {
	options
	out      *printer
	dir      string // all files; removed at the end
	cluster  *cluster
	kong     *kong
	operator *operator
}

// setUp starts everything. After an error, tearDown stops what was started.
func (s *environment) setUp(ctx context.Context) error {
	if err := s.checkFiles(); err != nil {
		return err
	}
	s.out.line(s.out.paint(bold, "The operator at work. A ✓ marks a check that passed."))
	s.out.line("")
	if err := s.makeDir(); err != nil {
		return err
	}
	var err error
	if s.kong, err = openKong(ctx, s.options); err != nil {
		return err
	}
	s.out.sayf("Kong        %s", s.kong)

	s.cluster = newCluster(s.dir)
	if err := s.cluster.start(); err != nil {
		return err
	}
	s.out.sayf("Kubernetes  %s", s.cluster)

	s.operator = newOperator(s.manager, s.cluster.kubeconfig, s.kong.clusterID, filepath.Join(s.dir, "manager.log"))
	s.out.failureContext = s.operator.tail
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	s.out.sayf("operator    %s", s.operator)
	return nil
}

func (s *environment) checkFiles() error {
	if s.assets == "" {
		return errors.New("KUBEBUILDER_ASSETS is not set: run `make demo`, or set it to the directory that hack/envtest.sh prints")
	}
	for path, hint := range map[string]string{
		"config/crd/bases": "run this from the root of the repository",
		s.manager:          "run `make build`",
		filepath.Join(s.assets, "kube-apiserver"): "set KUBEBUILDER_ASSETS to the directory that hack/envtest.sh prints",
	} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s is missing: %s", path, hint)
		}
	}
	return nil
}

// makeDir creates the directory. The API server and etcd keep their data in it too.
func (s *environment) makeDir() error {
	dir, err := os.MkdirTemp("", "kong-plugin-operator-demo-")
	if err != nil {
		return err
	}
	s.dir = dir
	return os.Setenv("TMPDIR", dir)
}

// tearDown stops and removes everything, in reverse order. It takes a context that an interrupt
// does not cancel.
func (s *environment) tearDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, teardownTimeout)
	defer cancel()
	var errs []error
	if s.operator != nil {
		errs = append(errs, s.operator.stop())
	}
	if s.kong != nil {
		errs = append(errs, s.kong.close(ctx))
	}
	if s.cluster != nil {
		errs = append(errs, s.cluster.stop())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// eventually calls check until it returns nil. After the timeout it returns the last error.
func (s *environment) eventually(ctx context.Context, within time.Duration, check func(context.Context) error) error {
	return s.eventuallyEvery(ctx, 100*time.Millisecond, within, check)
}

func (s *environment) eventuallyEvery(ctx context.Context, interval, within time.Duration, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, interval, within, true, func(ctx context.Context) (bool, error) {
		if died := s.operator.unexpectedExit(); died != nil {
			last = died
			return false, died
		}
		complaint := check(ctx)
		if ctx.Err() == nil || last == nil { // otherwise the error is only that of the context
			last = complaint
		}
		return complaint == nil, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case wait.Interrupted(err):
		return fmt.Errorf("not within %s: %w", within, last)
	default:
		return last
	}
}
