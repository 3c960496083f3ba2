/** A node of the parse tree as libpg_query prints it: `{ SelectStmt: { … } }`; fields that are zero are left out. */
export type TreeNode = Readonly<Record<string, unknown>>
