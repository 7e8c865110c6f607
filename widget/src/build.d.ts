// What build.mjs provides.

declare module "*.css" {
  /** The minified style sheet. */
  const text: string;
  export default text;
}

/** File of the app, relative to widget.js. Only the loader has it. */
declare const APP_FILE: string;
