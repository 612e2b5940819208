package plugin

// Withheld replaces Kong's message about a value from a Secret. Such a message can quote any
// part of the value: an error of the Lua parser quotes a token from the middle of a line.
const Withheld = "invalid value (Kong's message is withheld because the value comes from a Secret)"

// RedactFieldError returns the path of a field and Kong's message about it as they may be
// shown. The path is that of RedactPath. The message is one of these:
//   - Kong's own, if it is a fixed text of Kong or one that the plugin's schema determines;
//   - Withheld, if the field's value, or one inside or around it, came from a Secret;
//   - the result of Redact otherwise.
//
// An empty path means the plugin as a whole. Use it also for what Kong says without naming a
// field: such a message is withheld as soon as anything came from a Secret. Call
// AllowFieldNames first: without a schema every path in the config counts as one from a
// Secret.
func (r *Redactor) RedactFieldError(path, message string) (shownPath, shownMessage string) {
	if r == nil {
		return path, message
	}
	shownPath = r.RedactPath(path)
	switch {
	case r.wrapped && path == "config.config" && message == MessageUnknownField:
		return shownPath, message + hintWrapped
	case isKongMessage(message, r.schema):
		return shownPath, message
	case r.sources.include(path, r.schema):
		return shownPath, Withheld
	}
	return shownPath, r.Redact(message)
}

// hintWrapped helps with a frequent mistake: a config that was copied with its key.
const hintWrapped = " (spec.config and configFrom hold the config itself; do not wrap it in `config:`)"
