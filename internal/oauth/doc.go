// Package oauth holds both sides of bearer tokens that the hub meets.
//
// A Verifier checks the tokens that foreign issuers (OpenID Connect) give to
// callers of the service API, and maps their claims to roles. The contract is
// docs/spec/service-api.md section 1.5.
//
// A Server issues tokens of its own: the OAuth 2.0 client-credentials grant
// with clients and secrets, scopes, and throttling of guesses. It is made for
// one realm of clients with that contract's lifetimes, and knows nothing of
// devices or SIMs. Secrets and tokens are kept as hashes; both carry 256 random
// bits, so a plain SHA-256 is enough. Check answers from memory for a second at
// most; a revocation on this node is in force with its commit, on another node
// with the note that follows it. The contracts are docs/spec/iot-v1.md section
// 3 and RFC 6749, 6750, 7009.
//
// Apps are the applications of a process's tenants, with permissions per API,
// credentials, and signed access tokens (JWT, RS256) whose keys are kept in the
// store. A token is judged by its signature and by the present state of its
// credential: each secret has an epoch that grows with every refresh, and the
// token bears that of its day. The contract is docs/spec/connectivity-api.md
// section 2.
package oauth
