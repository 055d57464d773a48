// Type-checks dashboards with the types of @grafana/schema.
//
// Argument: the folder with node_modules. Input: a list of dashboards as JSON. Output: a list of problems, each with the
// number of its dashboard, the path of the value and a message.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const root = path.resolve(process.argv[2]);
const ts = require(path.join(root, "node_modules/typescript"));
const types = path.join(root, "node_modules/@grafana/schema/dist/types/raw");

// Enums as the values that JSON has.
const PRELUDE = `
import type { AnnotationQuery, Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel, VariableModel } from "${types}/dashboard/x/types.gen";
type Plain<T> = T extends string ? \`\${T}\`
  : T extends number ? (\`\${T}\` extends \`\${infer N extends number}\` ? N : never)
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
// What has a default may be omitted, as Grafana adds it.
type Given<T> = T extends (infer U)[] ? Given<U>[] : T extends object ? { [K in keyof T]?: Given<T[K]> } : T;
type Custom<F> = Omit<Given<Plain<FieldConfig>>, "custom"> & { custom?: Given<Plain<F>> };
type Fields<F> = Omit<Plain<FieldConfigSource>, "defaults"> & { defaults: Custom<F> };
type PanelOf<O, F> = Omit<Given<Plain<Panel>>, "options" | "fieldConfig" | "gridPos" | "type" | "id">
  & { id: number, type: string, gridPos: Plain<Panel["gridPos"]>, options?: Given<Plain<O>>, fieldConfig?: Fields<F> };
type Row = Omit<Plain<RowPanel>, "panels"> & { panels: [] };
// The schema has the annotations of Grafana's own data source only, and lacks what its editor of variables adds.
type Annotation = Omit<Given<Plain<AnnotationQuery>>, "target">
  & { target?: Record<string, unknown>, titleFormat?: string, textFormat?: string, tagKeys?: string };
type Variable = Given<Plain<VariableModel>> & { definition?: string };
type Root = Omit<Given<Plain<Dashboard>>, "panels" | "schemaVersion" | "annotations" | "templating">
  & { schemaVersion: number, annotations?: { list: Annotation[] }, templating?: { list: Variable[] } };
`;

const folders = new Map(fs.readdirSync(path.join(types, "composable")).map((name) => [name.toLowerCase(), name]));
const imports = new Map();

/** The types of the options and of the custom fields of a kind of panel, as names in the source. */
function typesOf(kind) {
  const folder = folders.get(kind.replaceAll("-", "").toLowerCase());
  const file = folder && path.join(types, "composable", folder, "panelcfg/x/types.gen");
  if (!file || !fs.existsSync(`${file}.d.ts`)) return null;
  const name = `panel_${folder}`;
  imports.set(name, file);
  const declared = fs.readFileSync(`${file}.d.ts`, "utf8");
  const has = (type) => new RegExp(`export (interface|type) ${type}\\b`).test(declared);
  return [has("Options") ? `${name}.Options` : "{}", has("FieldConfig") ? `${name}.FieldConfig` : "{}"];
}

/** A constant for the dashboard, and one for each of its panels; `places` gets their paths by name. */
function* constants(number, dashboard, places, problems) {
  const declare = (keys, type, value) => {
    const name = `value_${places.size}`;
    places.set(name, { number, keys });
    return `const ${name}: ${type} = ${JSON.stringify(value)};`;
  };
  const { panels = [], ...rest } = dashboard;
  yield declare([], "Root", rest);
  const pending = panels.map((panel, index) => [["panels", index], panel]);
  for (let [keys, panel] = pending.shift() ?? []; panel; [keys, panel] = pending.shift() ?? []) {
    if (panel.type === "row") {
      (panel.panels ?? []).forEach((inner, index) => pending.push([[...keys, "panels", index], inner]));
      yield declare(keys, "Row", { ...panel, panels: [] });
      continue;
    }
    const found = typesOf(panel.type);
    if (found) yield declare(keys, `PanelOf<${found.join(", ")}>`, panel);
    else problems.push({ number, keys: [...keys, "type"], message: `there are no panels of the type ${panel.type}` });
  }
}

/** The constant that a node belongs to, and the path of the node's value within it. */
function place(node) {
  const keys = [];
  for (; node && !ts.isVariableDeclaration(node); node = node.parent) {
    if (ts.isPropertyAssignment(node)) keys.unshift(node.name.text);
    else if (node.parent && ts.isArrayLiteralExpression(node.parent)) keys.unshift(node.parent.elements.indexOf(node));
  }
  return [node?.name.text, keys];
}

function nodeAt(source, position) {
  let found = source;
  const visit = (node) => {
    if (node.getStart(source) <= position && position < node.end) {
      found = node;
      ts.forEachChild(node, visit);
    }
  };
  visit(source);
  return found;
}

const places = new Map();
const problems = [];
const dashboards = JSON.parse(fs.readFileSync(0, "utf8"));
const body = dashboards.flatMap((dashboard, number) => [...constants(number, dashboard, places, problems)]);
const lines = [...imports].map(([name, file]) => `import type * as ${name} from "${file}";`);
const file = path.join(root, "dashboards.ts");
const text = [PRELUDE, ...lines, ...body].join("\n");

const options = { strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler };
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (name) => name === file || fileExists(name);
host.readFile = (name) => (name === file ? text : readFile(name));
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(file, text, options.target, true) : getSourceFile(name, ...rest);
const program = ts.createProgram([file], options, host);
const source = program.getSourceFile(file);
for (const found of [...program.getOptionsDiagnostics(), ...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]) {
  const message = ts.flattenDiagnosticMessageText(found.messageText, " ");
  const [name, keys] = found.file === source ? place(nodeAt(source, found.start)) : [];
  const known = places.get(name);
  if (!known) throw new Error(message); // of this program, not of a dashboard
  problems.push({ number: known.number, keys: [...known.keys, ...keys], message });
}
process.stdout.write(JSON.stringify(problems));
