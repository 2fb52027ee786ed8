package main

import (
	"os"
	"path/filepath"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	demobackup "commerce.example/coordinator/cmd/coordinator/internal/demo/backup"
	"commerce.example/coordinator/supervisor/fallback/backup"
)

// The demo ships what its rules make of its orders, as the legacy service has them
// and as the order history has them: -update makes it anew.
func TestDemoBackupData(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stack, err := demo.StartStack(t.Context(), demo.StackOptions{Exe: exe, Kinds: []demo.Kind{demo.Orders}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := demobackup.Copy(t.TempDir(), "none"); err == nil {
		t.Error("data of no bulkhead")
	}
	for _, bulkhead := range []string{"orders", "history"} {
		t.Run(bulkhead, func(t *testing.T) { testShipped(t, bulkhead, stack.URL()) })
	}
}

// testShipped makes the data of a bulkhead anew from what a front at url answers.
func testShipped(t *testing.T, bulkhead, url string) {
	shipped := filepath.Join("internal/demo/backup", bulkhead)
	dir := shipped
	if !*update {
		dir = filepath.Join(t.TempDir(), bulkhead)
		if err := demobackup.Copy(dir, bulkhead); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := coordinator(t, nil, "snapshot", bulkhead, "--dir", dir, "--url", url)
	if code != exitDone {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	made, err := backup.Load(dir, backup.Bounds{})
	if err != nil || made.Len() != 1 {
		t.Fatal(made, err)
	}
	if *update {
		return
	}
	before, err := backup.Load(shipped, backup.Bounds{})
	if err != nil || before.Len() != 1 || string(before.Entries()[0].Body) != string(made.Entries()[0].Body) {
		t.Errorf("shipped: %v %v\nmade:    %s", before, err, made.Entries()[0].Body)
	}
	if code, out, errs := coordinator(t, nil, "snapshot", bulkhead, "--verify", "--dir", shipped, "--url", url); code != exitDone {
		t.Errorf("%d %s %s", code, out, errs)
	}
}
