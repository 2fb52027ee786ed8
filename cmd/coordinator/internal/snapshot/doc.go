// Package snapshot makes the backup data of a bulkhead from what its backend
// answers now, and compares the two.
//
// The folder of the answers (package backup) says what to do. Its file requests
// has a block for each answer:
//
//	# what the order history asks for first
//	first-page.answer
//	ask /api/v2/orders/?username=test_learner_1&page=1&page_size=20
//	for /api/v2/orders/?username={}&[page=1]&[page_size={}]
//	Accept: application/json
//
// The file to write, the request to make (with a host before the path where routes
// have hosts), the pattern of the requests that its answer is for, and fields of the
// request. What stands for a wildcard in ask must not be found in the answer: the
// answer is for anybody. Its file sanitise.jq is the rules (package sanitise), which
// it must have, be it a single dot.
//
// Nothing of an answer is written before the rules have run and the detectors are
// silent; an answer that is refused leaves the file of an earlier one alone. Of the
// fields only those of Kept are stored. An answer that is itself a fallback is
// refused: it would make old data young.
package snapshot
