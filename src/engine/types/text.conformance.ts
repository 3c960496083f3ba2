/** The embedded PostgreSQL as the judge of text and binary forms. */
import type { PGlite } from '@electric-sql/pglite'

export interface Judged {
  readonly text: string
  /** Send format as hex; undefined where the input is an error. */
  readonly hex?: string
  /** PostgreSQL's own text output. */
  readonly output?: string
  readonly error?: { readonly sqlState: string; readonly message: string }
}

interface Row {
  ok: boolean
  message: string | null
  code: string | null
  hex: string | null
  output: string | null
}

/**
 * What PostgreSQL makes of each text as a value of the type.
 * @param input SQL from `t` (text) to the value: by default the cast
 * @param send name of the type's send function
 */
export async function judge(
  pg: PGlite,
  typeName: string,
  send: string,
  texts: readonly string[],
  input = `t::${typeName}`,
): Promise<Judged[]> {
  const result = await pg.query<Row>(
    `select e.message is null as ok, e.message, e.sql_error_code as code,
            case when e.message is null then encode(${send}(${input}), 'hex') end as hex,
            case when e.message is null then (${input})::text end as output
       from json_array_elements_text($1::json) with ordinality as texts(t, n),
            lateral pg_input_error_info(t, '${typeName}') as e
      order by n`,
    [JSON.stringify(texts)],
  )
  return result.rows.map((row, i) => {
    const text = texts[i] ?? ''
    return row.ok
      ? { text, hex: row.hex ?? '', output: row.output ?? '' }
      : { text, error: { sqlState: row.code ?? '', message: row.message ?? '' } }
  })
}

/** For types without soft errors (vector): one statement per text. */
export async function judgeOneByOne(
  pg: PGlite,
  typeName: string,
  send: string,
  texts: readonly string[],
): Promise<Judged[]> {
  const judged: Judged[] = []
  for (const text of texts) {
    try {
      const result = await pg.query<{ hex: string; output: string }>(
        `select encode(${send}($1::text::${typeName}), 'hex') as hex, ($1::text::${typeName})::text as output`,
        [text],
      )
      const row = result.rows[0]
      judged.push({ text, hex: row?.hex ?? '', output: row?.output ?? '' })
    } catch (error) {
      const { code, message } = error as { code: string; message: string }
      judged.push({ text, error: { sqlState: code, message } })
    }
  }
  return judged
}
