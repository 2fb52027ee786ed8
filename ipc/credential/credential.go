// Package credential knows the header fields that say who asks: the one list for
// what must not be written down, kept for others or shared in a compression table.
//
// Its names are those of RFC 9110, 9440 (Client-Cert) and 9449 (DPoP), and common
// ones: of keys and tokens, and those by which a proxy in front, which has looked at
// a certificate or a session, hands on whose it is. No list is complete: the key
// field of some API is unknown here, and whoever can be told of it must be.
//
// Names are taken in any case. All functions are safe for concurrent use and allocate
// nothing.
package credential

// IsSecret reports whether who has the value of this request field can pass for its
// sender.
func IsSecret(field string) bool { return isSecret(lower(field, new([longest]byte))) }

func isSecret(field []byte) bool {
	switch string(field) {
	case "authorization", "proxy-authorization", "cookie", "dpop",
		"x-authorization", "x-original-authorization",
		"api-key", "apikey", "x-api-key", "x-apikey", "x-api-token", "x-functions-key", "ocp-apim-subscription-key",
		"x-auth-token", "x-access-token", "x-id-token", "x-user-token", "x-session-token", "x-session-id", "x-session",
		"x-jwt-assertion", "x-jwt-token", "x-amz-security-token", "x-vault-token", "private-token", "access-token", "auth-token", "token",
		"x-forwarded-access-token", "x-auth-request-access-token", "x-amzn-oidc-data", "x-amzn-oidc-accesstoken",
		"x-goog-iap-jwt-assertion", "cf-access-jwt-assertion", "x-ms-token-aad-access-token":
		return true
	}
	return false
}

// NamesUser reports whether this request field tells a backend who asks: a secret,
// or a name that only a proxy in front may say.
func NamesUser(field string) bool {
	name := lower(field, new([longest]byte))
	switch string(name) {
	case "remote-user", "x-remote-user", "x-remote-email", "x-webauth-user", "x-user", "x-user-id", "x-user-email", "x-username", "x-authenticated-user",
		"x-authenticated-userid", "x-consumer-id", "x-consumer-username", "x-credential-identifier",
		"x-tenant", "x-tenant-id", "x-account-id", "x-customer-id",
		"x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-groups",
		"x-auth-request-user", "x-auth-request-email", "x-auth-request-preferred-username", "x-auth-request-groups",
		"client-cert", "client-cert-chain", "x-client-cert", "x-forwarded-client-cert", "x-ssl-cert", "ssl-client-cert",
		"x-ssl-client-cert", "x-ssl-client-dn", "x-ssl-client-s-dn", "x-ssl-client-cn", "x-client-dn", "x-client-verify",
		"x-amzn-oidc-identity", "x-amzn-mtls-clientcert",
		"x-goog-authenticated-user-email", "x-goog-authenticated-user-id",
		"cf-access-authenticated-user-email",
		"x-ms-client-principal", "x-ms-client-principal-id", "x-ms-client-principal-name":
		return true
	}
	return isSecret(name)
}

// IsIssued reports whether this field of an answer gives its client something to come
// back with, as Set-Cookie does.
func IsIssued(field string) bool {
	switch string(lower(field, new([longest]byte))) {
	case "set-cookie", "set-cookie2", "authorization", "x-authorization", "x-auth-token", "x-access-token", "x-refresh-token", "x-id-token",
		"x-jwt-token", "x-session-token", "x-session-id", "x-csrf-token", "x-csrftoken", "x-xsrf-token", "dpop-nonce":
		return true
	}
	return false
}

// longest is more than the length of any name here.
const longest = 40

// lower is field in lower case, in the space given; empty if it is longer than any
// name here.
func lower(field string, space *[longest]byte) []byte {
	if len(field) > longest {
		return nil
	}
	for i := range len(field) {
		b := field[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		space[i] = b
	}
	return space[:len(field)]
}
