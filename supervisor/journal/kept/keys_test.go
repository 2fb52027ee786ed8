package kept_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"commerce.example/coordinator/supervisor/journal/kept"
)

func TestParseKeys(t *testing.T) {
	a, b := secret(1), secret(99)
	hexA, baseB := hex.EncodeToString(a), base64.StdEncoding.EncodeToString(b)
	for name, test := range map[string]struct{ text, want string }{
		"raw":            {string(a), ""},
		"hex":            {hexA, ""},
		"hex, upper":     {strings.ToUpper(hexA) + "\r\n", ""},
		"base64":         {baseB + "\n", ""},
		"base64, URL":    {base64.RawURLEncoding.EncodeToString(b), ""},
		"two":            {"# of May\n" + hexA + "\n\n# of April\n" + baseB, ""},
		"empty":          {"", "no key in it; want 32 bytes"},
		"comments alone": {"# none\n\n", "no key in it"},
		"short":          {hexA[2:], "line 1 is no key; want 32 bytes"},
		"one bad":        {hexA + "\nhush-hush", "line 2 is no key"},
		"twice":          {hexA + "\n" + base64.StdEncoding.EncodeToString(a), "key 2 is there twice"},
		"zeros":          {strings.Repeat("00", 32), "key 1 is one byte over and over"},
		"too many":       {manyKeys(17), "17 keys; want at most 16"},
		"too long":       {strings.Repeat("#\n", 4000), "more than 4096 bytes"},
	} {
		k, err := kept.ParseKeys([]byte(test.text))
		if test.want == "" {
			if err != nil || fmt.Sprintf("%v %+v %#v", k, k, k) != "*** *** ***" {
				t.Errorf("%s: %v, %v", name, k, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func manyKeys(n byte) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%x\n", secret(i))
	}
	return text.String()
}

func TestKeyFilesOfOthersAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, secret(1), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o400: "", 0o640: "", 0o440: "", 0o660: "mode 0660", 0o650: "mode 0650", 0o604: "mode 0604", 0o644: "want 0600, or 0640 for a group"} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.ReadKeys(path); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		if _, err := kept.ReadKeys(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := kept.ReadKeys(path + ".gone"); !os.IsNotExist(err) {
		t.Error(err)
	}
}
