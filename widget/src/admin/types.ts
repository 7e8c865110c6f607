// The JSON of /admin/...

export interface Status {
  version: string;
  uptime_seconds: number;
  problem: string | null;
  index: Index | null;
  ingestion: Ingestion | null;
  budget: Budget;
  log: Log;
}

export interface Index {
  title: string;
  files: number;
  chunks: number;
  embedding_model: string;
  published_at: string;
  /** An address, "an uploaded archive", another folder, or "" for BOOK_CONTENT_PATH. */
  origin: string;
  /** The ingested folder, relative to the content folder. */
  folder: string;
}

export interface Ingestion {
  task_id: string;
  status: "pending" | "processing" | "completed" | "failed";
  progress: {
    pages_fetched: number;
    files_processed: number;
    total_files: number;
    files_unchanged: number;
    files_removed: number;
    chunks_created: number;
    chunks_embedded: number;
    chunks_reused: number;
    errors: string[];
    notes: string[];
    left_out: string[];
    links_unresolved: string[];
  };
  started_at: string;
  finished_at: string | null;
  error: string | null;
}

export interface Budget {
  tokens: number;
  tokens_limit: number | null;
  usd: number;
  usd_limit: number | null;
  refused: number;
  resets_at: string;
}

export interface Log {
  enabled: boolean;
  days: number;
  max_mb: number;
  bytes: number;
  questions: number;
  oldest: string | null;
  lost: number;
  problem: string | null;
  hint: string;
}

export interface Activity {
  days: Day[];
  languages: { language: string; questions: number }[];
  interfaces: { interface: string; questions: number }[];
}

export interface Day {
  date: string;
  questions: number;
  answered: number;
  refused: number;
  declined: number;
  failed: number;
  left: number;
  small_talk: number;
  up: number;
  down: number;
  unsupported: number;
  prompt_tokens: number;
  completion_tokens: number;
  embedding_tokens: number;
  cost_usd: number | null;
  first_p50: number | null;
  first_p95: number | null;
}

export interface Place {
  file_path: string;
  heading: string;
  url: string | null;
}

export interface Passage extends Place {
  score: number;
  cited: boolean;
}

export interface Row {
  id: number;
  asked_at: string;
  conversation: string;
  question: string;
  language: string;
  interface: string;
  outcome: string;
  mode: string;
  fallback: string;
  code: string;
  supported: number;
  unsupported: number;
  unknown: number;
  first_seconds: number | null;
  total_seconds: number;
  prompt_tokens: number;
  completion_tokens: number;
  embedding_tokens: number;
  cost_usd: number | null;
  vote: string | null;
  reason: string | null;
  note: string | null;
  passages: Passage[];
}

export interface Rows {
  questions: Row[];
  next: number | null;
  total: number;
}

export interface Gap {
  question: string;
  questions: number;
  conversations: number;
  recent: number;
  before: number;
  outcomes: Record<string, number>;
  languages: { language: string; questions: number }[];
  nearest: (Place & { score: number }) | null;
  examples: string[];
  ids: number[];
  first_asked: string;
  last_asked: string;
}

export interface Gaps {
  gaps: Gap[];
  total: number;
  /** Questions that are not embedded yet. */
  ungrouped: number;
}

export interface CitedPage {
  file_path: string;
  title: string;
  url: string | null;
  citations: number;
  questions: number;
}

export interface Pages {
  most: CitedPage[];
  least: CitedPage[];
  never: { total: number; headings: (Place & { page: string })[] };
}
