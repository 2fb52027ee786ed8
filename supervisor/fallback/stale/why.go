package stale

// Why is why an answer is not kept. The empty one: it is.
type Why string

// The reasons, in the words of the metric's label.
const (
	WhyMethod      Why = "method"      // not GET, or a GET with a body
	WhyStatus      Why = "status"      // none that is kept; with 304, none was kept that it could renew
	WhyCredentials Why = "credentials" // asked for with some that PerCredential does not list
	WhyNoStore     Why = "no_store"    // the request or the answer forbids it
	WhyNoCache     Why = "no_cache"    // may not be given without asking the backend
	WhyPrivate     Why = "private"     // and asked for without credentials
	WhySetCookie   Why = "set_cookie"  // or another token: begins a session, and is not public
	WhyVary        Why = "vary"        // on everything, or on more than is compared
	WhyRevalidate  Why = "revalidate"  // must be revalidated when stale, and is stale at once
	WhyTooOld      Why = "too_old"     // by Age or Date beyond MaxAge or stale-if-error already
	WhyTooLarge    Why = "too_large"   // beyond MaxAnswer
	WhyNoRoom      Why = "no_room"     // too much is being recorded at the same time
	WhyCut         Why = "cut"         // its end did not come, or its length is not what it said
	WhyInvalidated Why = "invalidated" // on its way when an unsafe request or a reload ended what is kept
)

// Whys is every reason, for a metric that shows the zeros, too.
func Whys() []Why {
	return []Why{
		WhyMethod, WhyStatus, WhyCredentials, WhyNoStore, WhyNoCache, WhyPrivate, WhySetCookie, WhyVary,
		WhyRevalidate, WhyTooOld, WhyTooLarge, WhyNoRoom, WhyCut, WhyInvalidated,
	}
}
