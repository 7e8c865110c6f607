// The app, loaded at the reader's first intent.

export {};
