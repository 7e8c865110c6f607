// The interface in English. Every other language has the same keys (`Strings`).

const en = {
  dir: "ltr",
  // The button, the panel and the question.
  ask: "Ask",
  /** {title} is the book's title. */
  askBook: "Ask {title}",
  askThisBook: "Ask this book",
  placeholder: "Ask a question",
  question: "Your question",
  send: "Send",
  close: "Close",
  newConversation: "New conversation",
  intro: "Answers come from this book, with links to where they are written.",
  tryAsking: "Try asking",
  youAsked: "You asked",
  answer: "Answer",
  conversation: "Conversation",
  aboutSelection: "About the selected text",
  removeSelection: "Remove the selected text",
  askSelection: "Ask about this",
  // While an answer is on its way.
  searching: "Searching the book …",
  answering: "Answering",
  waking: "The server is waking up. This can take a minute.",
  stop: "Stop",
  stopped: "Stopped.",
  // Under an answer.
  retry: "Try again",
  copy: "Copy",
  copied: "Copied",
  copyCode: "Copy code",
  sources: "Sources",
  /** {n} is the number of the source. */
  source: "Source {n}",
  openSource: "Open",
  selectedText: "Selected text",
  helpful: "Helpful",
  notHelpful: "Not helpful",
  thanks: "Thank you.",
  whatIsWrong: "What is wrong?",
  reasonWrong: "It is wrong",
  reasonIncomplete: "It is incomplete",
  reasonUnclear: "It is unclear",
  reasonSource: "The source does not fit",
  reasonOther: "Something else",
  note: "Tell us more (optional)",
  sendFeedback: "Send",
  followUps: "Continue with",
  nearestPages: "Nearest pages",
  unsupported: "Not supported by the cited source. Check there before you rely on it:",
  noSource: "This answer cites no source. Do not rely on it.",
  // Search while typing.
  pages: "Pages",
  /** {query} is what the reader typed. */
  askAbout: "Ask: {query}",
  /** {n} is a number of pages. */
  pagesFound: "Pages found: {n}",
  // Problems.
  offline: "You are offline. Your question is kept; try again when you are connected.",
  unreachable: "The server cannot be reached. Please try again in a moment.",
  interrupted: "The connection was lost. The answer is incomplete.",
  /** {n} is a number of seconds. */
  tooMany: "Too many questions. Try again in {n} seconds.",
  notAllowed: "This site is not allowed to use this server.",
};

export type Strings = { [key in keyof typeof en]: string };
export default en as Strings;
