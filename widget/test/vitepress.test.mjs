import { showsOn } from "./support/shows.mjs";

showsOn("vitepress");
