// Renders /openapi.json as a page.

const place = document.getElementById("interface");
const spec = await (await fetch("openapi.json")).json();
place.replaceChildren(
  ...Object.entries(spec.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => route(path, method, operation)),
  ),
  make("h2", "Types"),
  ...Object.entries(spec.components.schemas).map(([name, schema]) => type(name, schema)),
);
// The browser could not scroll to a type before it existed.
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();

function route(path, method, operation) {
  const section = make("section");
  const title = make("h2");
  title.append(make("span", method.toUpperCase(), "method"), ` ${path}`);
  section.append(title, make("p", operation.summary));
  if (operation.parameters) {
    const fields = operation.parameters.map((parameter) => [
      parameter.name, parameter.schema, parameter.required,
    ]);
    section.append(make("h3", "Query"), table(fields));
  }
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  if (body) section.append(make("h3", "Body"), paragraph(typeOf(body)));
  section.append(make("h3", "Responses"));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const line = make("p");
    line.append(make("strong", status), ` ${answer.description} `);
    for (const [kind, { schema }] of Object.entries(answer.content ?? {})) {
      const events = schema?.properties?.data?.contentSchema?.oneOf;
      line.append(make("code", kind), " ");
      for (const one of events ?? (schema ? [schema] : [])) line.append(typeOf(one), " ");
    }
    section.append(line);
  }
  return section;
}

function type(name, schema) {
  const section = make("section");
  section.id = name;
  section.append(make("h3", name));
  if (schema.description) section.append(make("p", schema.description));
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {});
  section.append(table(fields.map(([field, its]) => [field, its, required.has(field)])));
  return section;
}

function table(fields) {
  const made = make("table");
  for (const [name, schema, required] of fields) {
    const row = make("tr");
    const cell = make("td");
    cell.append(typeOf(schema), required ? ", required" : "");
    row.append(make("th", name), cell, make("td", note(schema)));
    made.append(row);
  }
  return made;
}

function typeOf(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    const link = make("a", name);
    link.href = `#${name}`;
    return link;
  }
  if (schema.anyOf) {
    const made = make("span");
    schema.anyOf.forEach((one, index) => made.append(index ? " or " : "", typeOf(one)));
    return made;
  }
  if (schema.enum) return make("code", schema.enum.map((value) => JSON.stringify(value)).join(" | "));
  if (schema.type === "array") {
    const made = make("span", "array of ");
    made.append(typeOf(schema.items ?? {}));
    return made;
  }
  return make("span", schema.type ?? "any");
}

function note(schema) {
  const own = [schema, ...(schema.anyOf ?? [])];
  const first = (key) => own.find((one) => one[key] !== undefined)?.[key];
  const parts = [first("description")];
  if (first("minimum") !== undefined) parts.push(`${first("minimum")} to ${first("maximum")}.`);
  if (first("maxLength") !== undefined) parts.push(`At most ${first("maxLength")} characters.`);
  if (schema.default !== undefined && schema.default !== null) parts.push(`Default ${JSON.stringify(schema.default)}.`);
  return parts.filter(Boolean).join(" ");
}

function paragraph(child) {
  const made = make("p");
  made.append(child);
  return made;
}

function make(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
