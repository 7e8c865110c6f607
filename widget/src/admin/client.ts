// HTTP calls. The key is kept only here, not in an address, cookie or storage.

const MAX_MESSAGE = 500;

export type Query = Record<string, string>;

/** A request that failed, with a sentence for the author. */
export class Failure extends Error {}

export class Client {
  readonly #key: string;
  readonly #refused: (failure: Failure) => void;

  /** `refused` is called when the server no longer accepts the key. */
  constructor(key: string, refused: (failure: Failure) => void) {
    this.#key = key;
    this.#refused = refused;
  }

  get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.#fetch("GET", path, (response) => response.json(), { query, signal });
  }

  text(path: string, query: Query, signal?: AbortSignal): Promise<string> {
    return this.#fetch("GET", path, (response) => response.text(), { query, signal });
  }

  blob(path: string, query: Query = {}): Promise<Blob> {
    return this.#fetch("GET", path, (response) => response.blob(), { query });
  }

  async post(path: string, body: object): Promise<void> {
    await this.#fetch("POST", path, (response) => response.json(), { body: JSON.stringify(body) });
  }

  async delete(path: string): Promise<void> {
    await this.#fetch("DELETE", path, (response) => response.json());
  }

  /** Throws `Failure`, or the error of an aborted `signal`. */
  async #fetch<T>(
    method: string,
    path: string,
    read: (response: Response) => Promise<T>,
    { query = {}, signal, body }: { query?: Query; signal?: AbortSignal; body?: string } = {},
  ): Promise<T> {
    const given = Object.entries(query).filter(([, value]) => value);
    const address = given.length ? `${path}?${new URLSearchParams(given)}` : path;
    const headers = this.#headers(body !== undefined);
    let response: Response;
    try {
      response = await fetch(address, { method, headers, body, signal, cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Failure("Quire cannot be reached. Check the connection and the server.");
    }
    if (!response.ok) throw await this.#failure(response);
    try {
      return await read(response);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Failure("The server's answer is incomplete.");
    }
  }

  #headers(hasBody: boolean): Headers {
    try {
      // Not `Authorization`, which a proxy in front of Quire may use for a password of its own.
      return new Headers({ "X-API-Key": this.#key, ...(hasBody && { "Content-Type": "application/json" }) });
    } catch {
      throw new Failure("This key has characters that cannot be sent.");
    }
  }

  async #failure(response: Response): Promise<Failure> {
    const sent = await response.json().catch(() => null);
    const message = typeof sent?.error === "string" ? sent.error.slice(0, MAX_MESSAGE) : "";
    const failure = new Failure(message || `The server answered with status ${response.status}.`);
    if (response.status === 401) this.#refused(failure);
    return failure;
  }
}
