import { showsOn } from "./support/shows.mjs";

showsOn("docusaurus");
