package stale

// namesUser reports whether a field of a request, in canonical form, tells a backend
// who asks: without being told, it is taken for a credential. Besides the fields of
// RFC 9110, 9440 (Client-Cert) and 9449 (DPoP) these are names that are common: of
// keys and tokens, and those by which a proxy in front, which has looked at a
// certificate or a session, hands on whose it is.
func namesUser(field string) bool {
	switch field {
	case "Authorization", "Proxy-Authorization", "Cookie", "Dpop",
		"X-Authorization", "X-Original-Authorization",
		"Api-Key", "Apikey", "X-Api-Key", "X-Apikey", "X-Api-Token", "X-Functions-Key", "Ocp-Apim-Subscription-Key",
		"X-Auth-Token", "X-Access-Token", "X-Id-Token", "X-User-Token", "X-Session-Token", "X-Session-Id", "X-Session",
		"X-Jwt-Assertion", "X-Jwt-Token", "X-Amz-Security-Token", "X-Vault-Token", "Private-Token", "Access-Token", "Auth-Token", "Token",
		"Remote-User", "X-Remote-User", "X-Remote-Email", "X-Webauth-User", "X-User", "X-User-Id", "X-User-Email", "X-Username", "X-Authenticated-User",
		"X-Authenticated-Userid", "X-Consumer-Id", "X-Consumer-Username", "X-Credential-Identifier",
		"X-Tenant", "X-Tenant-Id", "X-Account-Id", "X-Customer-Id",
		"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups", "X-Forwarded-Access-Token",
		"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups", "X-Auth-Request-Access-Token",
		"Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Forwarded-Client-Cert", "X-Ssl-Cert", "Ssl-Client-Cert",
		"X-Ssl-Client-Cert", "X-Ssl-Client-Dn", "X-Ssl-Client-S-Dn", "X-Ssl-Client-Cn", "X-Client-Dn", "X-Client-Verify",
		"X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Accesstoken", "X-Amzn-Mtls-Clientcert",
		"X-Goog-Iap-Jwt-Assertion", "X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-Id",
		"Cf-Access-Jwt-Assertion", "Cf-Access-Authenticated-User-Email",
		"X-Ms-Client-Principal", "X-Ms-Client-Principal-Id", "X-Ms-Client-Principal-Name", "X-Ms-Token-Aad-Access-Token":
		return true
	}
	return false
}

// issuesToken reports whether a field of an answer gives its client something to
// come back with, as Set-Cookie does.
func issuesToken(field string) bool {
	switch field {
	case "Set-Cookie", "Set-Cookie2", "Authorization", "X-Authorization", "X-Auth-Token", "X-Access-Token", "X-Refresh-Token", "X-Id-Token",
		"X-Jwt-Token", "X-Session-Token", "X-Session-Id", "X-Csrf-Token", "X-Csrftoken", "X-Xsrf-Token", "Dpop-Nonce":
		return true
	}
	return false
}

func beginsSession(h map[string][]string) bool {
	for field := range h {
		if issuesToken(field) {
			return true
		}
	}
	return false
}
