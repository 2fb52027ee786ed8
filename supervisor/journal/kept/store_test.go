package kept_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal/kept"
)

func TestWhatIsKeptComesBackAsItWas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	s := open(t, dir, 0, keys(t, 1))
	for _, r := range []*kept.Request{payment(), {Method: "DELETE", Target: "/", Body: []byte{}}} {
		for _, sync := range []bool{false, true} {
			name, err := s.Keep("id-1", r, sync)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Read("id-1", name)
			if err != nil || !reflect.DeepEqual(got, r) {
				t.Errorf("%+v, %v", got, err)
			}
		}
	}
	for _, path := range append(files(t, dir), dir) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if got := s.Stats(); got.Files != 4 || got.Bytes != 4*4096 {
		t.Errorf("%+v", got)
	}
}

// Nothing of a request, its credentials and its id can be read without the key.
func TestFilesTellNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0, keys(t, 1))
	a, b := keep(t, s, "canary-id", payment()), keep(t, s, "canary-id", payment())
	for _, path := range files(t, dir) {
		text := read(t, path)
		for _, secret := range []string{"canary", "POST", "shop.example", "192.0.2.7", "Authorization", string(secret(1))} {
			if bytes.Contains(text, []byte(secret)) || strings.Contains(path, secret) {
				t.Errorf("%s tells %q", path, secret)
			}
		}
	}
	if bytes.Equal(read(t, filepath.Join(dir, a))[9:], read(t, filepath.Join(dir, b))[9:]) {
		t.Error("two that are alike are sealed alike")
	}
}

func TestKeysRotate(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0, keys(t, 1))
	old := keep(t, s, "id", payment())
	s.SetKeys(keys(t, 2, 1))
	young := keep(t, s, "id", payment())
	for _, name := range []string{old, young} {
		if _, err := s.Read("id", name); err != nil {
			t.Error(err)
		}
	}
	s.SetKeys(keys(t, 2))
	if _, err := s.Read("id", old); !errors.Is(err, kept.ErrKey) {
		t.Errorf("with its key gone: %v", err)
	}
	if _, err := s.Read("id", young); err != nil {
		t.Error(err)
	}
}

// Each byte counts, and so does whose file it is.
func TestDamageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0, keys(t, 1))
	name, other := keep(t, s, "id", payment()), keep(t, s, "id", payment())
	path := filepath.Join(dir, name)
	whole := read(t, path)
	refused := func(what, id, name string) {
		t.Helper()
		if r, err := s.Read(id, name); !errors.Is(err, kept.ErrDamaged) && !errors.Is(err, kept.ErrKey) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		write(t, path, bad)
		refused("a flipped bit", "id", name)
		write(t, path, whole[:i])
		refused("cut", "id", name)
	}
	write(t, path, whole)
	refused("another id", "id2", name)
	write(t, path, read(t, filepath.Join(dir, other)))
	refused("another file's content", "id", name)
	refused("a path", "id", "../../../../../../etc/passwd")
	if err := s.Drop("../" + name); !errors.Is(err, kept.ErrDamaged) {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("id", name); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDropped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0, keys(t, 1))
	name := keep(t, s, "id", payment())
	for range 2 {
		if err := s.Drop(name); err != nil {
			t.Error(err)
		}
	}
	if got := s.Stats(); got != (kept.Stats{}) || len(files(t, dir)) != 0 {
		t.Errorf("%+v", got)
	}
}

// However much is kept at a time, the folder stays within its bound, and the
// newest are in it.
func TestTheFolderIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, kept.MinBytes, keys(t, 1))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				r := payment()
				r.Body = make([]byte, 10<<10)
				if _, err := s.Keep("id", r, false); err != nil && !errors.Is(err, kept.ErrFull) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	occupied := func() (n int64) {
		for _, path := range files(t, dir) {
			if info, err := os.Stat(path); err == nil {
				n += (info.Size() + 4095) / 4096 * 4096
			}
		}
		return n
	}
	if n := occupied(); n > kept.MinBytes {
		t.Errorf("%d bytes are kept", n)
	}
	var last string
	eventually(t, "there is room again", func() (ok bool) {
		var err error
		last, err = s.Keep("id", payment(), false)
		return err == nil
	})
	if _, err := s.Read("id", last); err != nil {
		t.Error(err)
	}
	again := open(t, dir, kept.MinBytes, keys(t, 1))
	if got := again.Stats(); got.Bytes != occupied() || got.Files != int64(len(files(t, dir))) {
		t.Errorf("opened again: %+v", got)
	}
}

// Who does not wait is served all the same, at the latest by Close.
func TestDropSoon(t *testing.T) {
	dir := t.TempDir()
	s, err := kept.Open(dir, 0, keys(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	s.DropSoon("../no name")
	for range 100 {
		s.DropSoon(keep(t, s, "id", payment()))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := s.Stats(); got != (kept.Stats{}) || len(files(t, dir)) != 0 {
		t.Errorf("%+v, %v", got, files(t, dir))
	}
}

// A disk that does not answer is waited for once.
func TestADiskThatHangs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0, keys(t, 1))
	answers := make(chan struct{})
	s.HangUntil(answers)
	begun := time.Now()
	if _, err := s.Keep("id", payment(), false); !errors.Is(err, kept.ErrSlow) {
		t.Errorf("the first: %v", err)
	}
	waited := time.Since(begun)
	if _, err := s.Keep("id", payment(), false); !errors.Is(err, kept.ErrSlow) || time.Since(begun) > waited+kept.Patience/2 {
		t.Errorf("the second: %v, after %v", err, time.Since(begun))
	}
	if got := s.Stats(); got.Files != 1 {
		t.Errorf("what is being written counts: %+v", got)
	}
	close(answers)
	eventually(t, "it keeps again", func() bool {
		_, err := s.Keep("id", payment(), false)
		return err == nil
	})
	eventually(t, "what came too late is gone", func() bool { return s.Stats().Files == int64(len(files(t, dir))) })
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0, keys(t, 1))
	old, young := keep(t, s, "id", payment()), keep(t, s, "id", payment())
	foreign := filepath.Join(dir, "README")
	write(t, foreign, []byte("not ours"))
	long := time.Now().Add(-time.Hour)
	for _, path := range []string{filepath.Join(dir, old), foreign} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	s.Forget(time.Now().Add(-time.Minute))
	eventually(t, "the old one is gone", func() bool { return s.Stats().Files == 1 })
	if _, err := s.Read("id", young); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error("what is not ours is gone")
	}
}

func TestALargeRequestIsNotKept(t *testing.T) {
	s := open(t, t.TempDir(), 1<<30, keys(t, 1))
	r := payment()
	r.Body = make([]byte, kept.MaxBody+1)
	if _, err := s.Keep("id", r, false); !errors.Is(err, kept.ErrFull) {
		t.Error(err)
	}
}

func TestAFailedWriteLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	s := open(t, dir, 0, keys(t, 1))
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Keep("id", payment(), true); err == nil || s.Stats() != (kept.Stats{}) {
		t.Errorf("%v, %+v", err, s.Stats())
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(kept.Marshal(payment()))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := kept.Unmarshal(b)
		if err != nil {
			return
		}
		again, err := kept.Unmarshal(kept.Marshal(r))
		if err != nil || again.Method != r.Method || again.Target != r.Target || !bytes.Equal(again.Body, r.Body) || !reflect.DeepEqual(again.Header, r.Header) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

func BenchmarkKeepAndDrop(b *testing.B) {
	s := open(b, b.TempDir(), 64<<20, keys(b, 1))
	r := payment()
	r.Body = make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Drop(keep(b, s, "019a3c5e-7d0b-7c4e-9f0a-1b2c3d4e5f60", r)); err != nil {
			b.Fatal(err)
		}
	}
}
