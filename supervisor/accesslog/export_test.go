package accesslog

// AppendText is appendText, for its fuzz target.
var AppendText = appendText

// Pick is how many requests the line of one stands for.
func (s Sampling) Pick(failed bool) uint32 { return s.pick(failed) }

// Append encodes r as Add does.
func (r *Record) Append(b []byte) []byte { return r.append(b) }
