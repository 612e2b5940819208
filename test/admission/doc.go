// Package admission tests the webhooks with everything real but Kong: the API server calls the operator's
// binary, which has the rights of config/rbac and config/webhook, and keeps its own certificate.
package admission
