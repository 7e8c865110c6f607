// Lets tests import the TypeScript sources: `node --import ./test/support/typescript.mjs`.

import { register } from "node:module";

register("./typescript-hooks.mjs", import.meta.url);
