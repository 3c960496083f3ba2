/** Violations of keys in PostgreSQL's words (nbtinsert.c, ri_triggers.c, genam.c BuildIndexValueDescription). */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Datum } from '#engine/columnar/column.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { formatText } from '#engine/types/format-text.js'

export function uniqueViolation(
  schema: TableSchema,
  key: KeyConstraint,
  values: readonly Datum[],
): DatabaseError {
  return new DatabaseError(
    SqlState.uniqueViolation,
    `duplicate key value violates unique constraint "${key.name}"`,
    {
      detail: `${describeKey(schema, key, values)} already exists.`,
      schema: schema.schemaName,
      table: schema.name,
      constraint: key.name,
    },
  )
}

/** CREATE UNIQUE INDEX over rows that are not unique (tuplesortvariants.c). */
export function duplicateInIndex(
  schema: TableSchema,
  key: KeyConstraint,
  values: readonly Datum[],
): DatabaseError {
  return new DatabaseError(
    SqlState.uniqueViolation,
    `could not create unique index "${key.name}"`,
    {
      detail: `${describeKey(schema, key, values)} is duplicated.`,
      schema: schema.schemaName,
      table: schema.name,
      constraint: key.name,
    },
  )
}

/** The proxy puts the referencing table into the message; here only the constraint and the key are known. */
export function foreignKeyViolation(
  schema: TableSchema,
  key: KeyConstraint | undefined,
  constraintName: string,
  values: readonly Datum[],
): DatabaseError {
  const described = key === undefined ? 'Key' : describeKey(schema, key, values)
  return new DatabaseError(
    SqlState.foreignKeyViolation,
    `insert or update violates foreign key constraint "${constraintName}"`,
    {
      detail: `${described} is not present in table "${schema.name}".`,
      constraint: constraintName,
    },
  )
}

export function concurrentUpdate(): DatabaseError {
  return new DatabaseError(
    SqlState.serializationFailure,
    'could not serialize access due to concurrent update',
  )
}

function describeKey(schema: TableSchema, key: KeyConstraint, values: readonly Datum[]): string {
  const names: string[] = []
  const texts: string[] = []
  key.attnums.forEach((attnum, i) => {
    const column = schema.columns.find((candidate) => candidate.attnum === attnum)
    names.push(column?.name ?? String(attnum))
    texts.push(describeValue(column?.typeName ?? '', values[i] ?? null))
  })
  return `Key (${names.join(', ')})=(${texts.join(', ')})`
}

function describeValue(typeName: string, datum: Datum): string {
  if (datum === null) return 'null'
  return formatText(typeName, datum) ?? `\\x${Buffer.from(datum).toString('hex')}`
}
