package kept

import "os"

// The decoder, for the fuzzer.
var (
	Marshal   = (*Request).marshal
	Unmarshal = unmarshal
)

const Patience = patience

// HangUntil has the disk not answer before then. It is called before the first Keep.
func (s *Store) HangUntil(answers <-chan struct{}) {
	s.create = func(path string) (*os.File, error) {
		<-answers
		return create(path)
	}
}
