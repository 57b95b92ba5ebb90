/** A schema of JSON Schema, of the keywords that {@linkcode schemaFaults} understands. */
export type Schema = Readonly<Record<string, unknown>>;

type Check = (value: unknown, argument: unknown, root: Schema, schema: Schema) => string[];
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const fault = (isGood: boolean, text: string) => isGood ? [] : [text];

/** Each keyword that is understood (JSON Schema 2020-12). */
const KEYWORDS: Readonly<Record<string, Check>> = {
  $schema: () => [],
  $defs: () => [],
  title: () => [],
  description: () => [],
  type: (value, type) => fault(typeOf(value) === type, `${typeOf(value)} is not ${type}`),
  const: (value, constant) => fault(value === constant, `${value} is not ${constant}`),
  enum: (value, list) => fault((list as unknown[]).includes(value), `${value} is none of ${list}`),
  pattern: (value, pattern) =>
    fault(typeof value !== "string" || new RegExp(pattern as string, "u").test(value), `${value} does not match`),
  required: (value, names) =>
    isObject(value) ? (names as string[]).filter((name) => !(name in value)).map((name) => `${name} is missing`) : [],
  properties: (value, properties, root) =>
    Object.entries(properties as Record<string, Schema>).flatMap(([name, schema]) =>
      isObject(value) && name in value ? schemaFaults(value[name], schema, root).map((each) => `${name}: ${each}`) : []
    ),
  additionalProperties: (value, allowed, _root, { properties }) =>
    allowed === false && isObject(value)
      ? Object.keys(value).filter((name) => !(name in (properties as Schema))).map((name) => `${name} is unknown`)
      : [],
  items: (value, schema, root) =>
    Array.isArray(value)
      ? value.flatMap((each, index) => schemaFaults(each, schema as Schema, root).map((text) => `${index}: ${text}`))
      : [],
  $ref: (value, path, root) => {
    const schema = (path as string).split("/").slice(1).reduce((from, name) => from[name] as Schema, root);
    return schemaFaults(value, schema, root);
  },
};

/** Why a value is not of a schema; empty if it is. A keyword that is not understood throws. */
export function schemaFaults(value: unknown, schema: Schema, root: Schema = schema): string[] {
  return Object.entries(schema).flatMap(([name, argument]) => {
    const check = KEYWORDS[name];
    if (!check) throw new Error(`the keyword ${name} is not understood`);
    return check(value, argument, root, schema);
  });
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return value === null ? "null" : typeof value;
}
