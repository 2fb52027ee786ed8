package main

import (
	"os"
	"path/filepath"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	demobackup "commerce.example/coordinator/cmd/coordinator/internal/demo/backup"
	"commerce.example/coordinator/supervisor/fallback/backup"
)

// The demo ships what its rules make of its orders: -update makes it anew.
func TestDemoBackupData(t *testing.T) {
	const shipped = "internal/demo/backup/orders"
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	orders, err := demo.Start(t.Context(), exe, demo.Orders, demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer orders.Stop()
	dir := shipped
	if !*update {
		dir = filepath.Join(t.TempDir(), "orders")
		if err := demobackup.Copy(dir, "orders"); err != nil {
			t.Fatal(err)
		}
		if err := demobackup.Copy(t.TempDir(), "none"); err == nil {
			t.Error("data of no bulkhead")
		}
	}
	before, _ := backup.Load(shipped, backup.Bounds{})
	code, out, errs := coordinator(t, nil, "snapshot", "orders", "--dir", dir, "--url", orders.URL())
	if code != exitDone {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	after, err := backup.Load(dir, backup.Bounds{})
	if err != nil || after.Len() != 1 {
		t.Fatal(err)
	}
	if *update {
		return
	}
	if before.Len() != 1 || string(before.Entries()[0].Body) != string(after.Entries()[0].Body) {
		t.Errorf("shipped: %v\nmade:    %s", before, after.Entries()[0].Body)
	}
	if code, out, errs := coordinator(t, nil, "snapshot", "orders", "--verify", "--dir", shipped, "--url", orders.URL()); code != exitDone {
		t.Errorf("%d %s %s", code, out, errs)
	}
}
