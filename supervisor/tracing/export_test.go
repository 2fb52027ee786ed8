package tracing

// MaxState is maxState.
const MaxState = maxState
