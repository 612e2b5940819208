package identity

// OwnerState says whether the PluginBinding that the ownership tags of a plugin name exists.
type OwnerState int

const (
	// OwnerUnknown: not looked up, no trustworthy answer, or not a binding of this cluster. It
	// counts as OwnerExists: a conflict writes nothing.
	OwnerUnknown OwnerState = iota
	// OwnerExists: the binding exists.
	OwnerExists
	// OwnerGone: the binding is one of this cluster, and the API server itself answered twice, at
	// least a minute apart, that it does not exist. An answer from a cache is not enough, nor is a
	// single one: a restore may be in progress.
	OwnerGone
	// OwnerReplaced: the binding exists, this one replaces it, and it allows that.
	OwnerReplaced
	// OwnerHandsOver: the owner is Kong's ingress controller, and somebody is moving the plugin from
	// it to this binding. For some seconds the ingress controller may write over it.
	OwnerHandsOver
)

// handsOver reports whether the ingress controller hands the recorded plugin over. It has to be where
// it is declared: a write that moves it would leave the place from which it is handed over.
func (f *Facts) handsOver() bool {
	return f.ByID.Ownership == OwnedByOther && f.ByID.OwnerState == OwnerHandsOver && f.ByKey.is(f.Recorded)
}
