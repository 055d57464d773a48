// Reads [[language, query], …] from stdin and prints, for each, where its grammar stops understanding it, or null.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");

const packages = createRequire(`${process.argv[2]}/`);
const grammars = {
  loki: packages("@grafana/lezer-logql").parser,
  tempo: packages("@grafana/lezer-traceql").parser,
};

function firstError(parser, query) {
  let position = null;
  parser.parse(query).iterate({
    enter(node) {
      if (node.type.isError && position === null) position = node.from;
    },
  });
  return position;
}

const queries = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(queries.map(([language, query]) => firstError(grammars[language], query))));
