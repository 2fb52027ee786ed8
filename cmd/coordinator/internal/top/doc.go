// Package top shows all bulkheads of a supervisor on a terminal, live, and has
// an operator restart, drain and resume them and overrule their breakers.
//
// It is a table whose rows are bulkheads. Where they come from, what is done to
// them, and how a value is written for people is the command's: it gives columns
// and texts, so that top and status say the same in the same words.
//
// # What happens when
//
// Run owns two goroutines beside the screen's. One looks at the supervisor, a
// second after it had the last answer; the other does what the operator has
// confirmed, one thing at a time. Both send what they learnt to the model, which
// alone decides what is shown and is a pure function of its messages. When Run
// ends, it gives up what is under way and waits for both.
//
// A supervisor that does not answer is asked again, and the last that is known
// stays on the screen, said to be old. One that has another process id or start
// was restarted: its counts begin anew, so there are no rates for a moment.
//
// # The terminal
//
// It is left as it was found, by q, by SIGINT, SIGTERM and SIGHUP, and after a
// panic. Colour is never the only sign: the chosen row has a mark, and every
// state is a word. Lines are cut to the width that there is; 80 columns and 24
// rows show everything.
//
// This is the one home of bubbletea (charm.land/bubbletea/v2): raw mode, keys,
// resizing and redrawing only what changed, over ssh too, are more than a
// program should do by itself, and nothing else here needs them.
package top
