// Package credential knows the header fields that say who asks: the one list for
// what must not be written down, kept for others or shared in a compression table.
//
// Its names are those of RFC 9110, 9440 (Client-Cert) and 9449 (DPoP), and common
// ones: of keys and tokens, and those by which a proxy in front, which has looked at
// a certificate or a session, hands on whose it is. No list is complete: the key
// field of some API is unknown here, and whoever can be told of it must be.
//
// Names are in canonical form (net/textproto). All functions are safe for concurrent
// use and allocate nothing.
package credential

// IsSecret reports whether who has the value of this request field can pass for its
// sender.
func IsSecret(field string) bool {
	switch field {
	case "Authorization", "Proxy-Authorization", "Cookie", "Dpop",
		"X-Authorization", "X-Original-Authorization",
		"Api-Key", "Apikey", "X-Api-Key", "X-Apikey", "X-Api-Token", "X-Functions-Key", "Ocp-Apim-Subscription-Key",
		"X-Auth-Token", "X-Access-Token", "X-Id-Token", "X-User-Token", "X-Session-Token", "X-Session-Id", "X-Session",
		"X-Jwt-Assertion", "X-Jwt-Token", "X-Amz-Security-Token", "X-Vault-Token", "Private-Token", "Access-Token", "Auth-Token", "Token",
		"X-Forwarded-Access-Token", "X-Auth-Request-Access-Token", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Accesstoken",
		"X-Goog-Iap-Jwt-Assertion", "Cf-Access-Jwt-Assertion", "X-Ms-Token-Aad-Access-Token":
		return true
	}
	return false
}

// NamesUser reports whether this request field tells a backend who asks: a secret,
// or a name that only a proxy in front may say.
func NamesUser(field string) bool {
	switch field {
	case "Remote-User", "X-Remote-User", "X-Remote-Email", "X-Webauth-User", "X-User", "X-User-Id", "X-User-Email", "X-Username", "X-Authenticated-User",
		"X-Authenticated-Userid", "X-Consumer-Id", "X-Consumer-Username", "X-Credential-Identifier",
		"X-Tenant", "X-Tenant-Id", "X-Account-Id", "X-Customer-Id",
		"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups",
		"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups",
		"Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Forwarded-Client-Cert", "X-Ssl-Cert", "Ssl-Client-Cert",
		"X-Ssl-Client-Cert", "X-Ssl-Client-Dn", "X-Ssl-Client-S-Dn", "X-Ssl-Client-Cn", "X-Client-Dn", "X-Client-Verify",
		"X-Amzn-Oidc-Identity", "X-Amzn-Mtls-Clientcert",
		"X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-Id",
		"Cf-Access-Authenticated-User-Email",
		"X-Ms-Client-Principal", "X-Ms-Client-Principal-Id", "X-Ms-Client-Principal-Name":
		return true
	}
	return IsSecret(field)
}

// IsIssued reports whether this field of an answer gives its client something to come
// back with, as Set-Cookie does.
func IsIssued(field string) bool {
	switch field {
	case "Set-Cookie", "Set-Cookie2", "Authorization", "X-Authorization", "X-Auth-Token", "X-Access-Token", "X-Refresh-Token", "X-Id-Token",
		"X-Jwt-Token", "X-Session-Token", "X-Session-Id", "X-Csrf-Token", "X-Csrftoken", "X-Xsrf-Token", "Dpop-Nonce":
		return true
	}
	return false
}
