package main

import (
	"strings"
	"testing"
)

func TestFindsTheConfigurationThatRuncWillRead(t *testing.T) {
	for _, test := range []struct {
		args    string
		file    string
		process bool
	}{
		{"--root /run/r --log /l.json create --bundle /b --pid-file /p id", "/b/config.json", false},
		{"--root=/run/r run -b /b id", "/b/config.json", false},
		{"exec --process /tmp/p --detach id", "/tmp/p", true},
		{"--root /create delete id", "", false},
		{"state id", "", false},
	} {
		file, process := configOf(strings.Fields(test.args))
		if file != test.file || process != test.process {
			t.Errorf("%s: got %q %v", test.args, file, process)
		}
	}
}

func TestDropsOnlyWhatTheHostCannotGive(t *testing.T) {
	in := `{"process":{"oomScoreAdj":-999,"rlimits":[{}],"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"]}},"linux":{"n":12345678901234567890}}`
	out, changed, err := softened([]byte(in), false)
	if err != nil || !changed {
		t.Fatal(err, changed)
	}
	want := `{"linux":{"n":12345678901234567890},"process":{"capabilities":{"bounding":["CAP_CHOWN"]}}}`
	if string(out) != want {
		t.Errorf("got %s", out)
	}
}

func TestLeavesAModestContainerAlone(t *testing.T) {
	in := `{"process":{"oomScoreAdj":100,"capabilities":{"bounding":["CAP_CHOWN"]}}}`
	if _, changed, err := softened([]byte(in), false); err != nil || changed {
		t.Error(err, changed)
	}
}
