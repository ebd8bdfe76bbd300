package transient

// Texts are the beginnings of texts that are known.
var Texts = texts[:]
