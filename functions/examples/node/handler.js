// A handler for Culvert in Node, with the standard library alone.
//
// It prints a line for each changed row. Try it on this machine:
//
//     culvert local --handler-command "node functions/examples/node/handler.js"
//
// or name it in a configuration: function: command:node PATH/handler.js. It
// runs unchanged in a custom runtime of Function Compute.
//
// Culvert starts it as a server, and posts each batch of changes to /invoke. A
// batch comes again until it succeeds, so do things in a way that bears
// repeating.
'use strict'

const http = require('node:http')

// handle handles one change of one row. What it throws fails this record alone.
async function handle(record) {
  const key = record.PrimaryKey.map((column) => [column.ColumnName, plain(column.Value)])
  // A list of changes rather than an object, as one change of a row may touch
  // several versions of a column. A deleted column has the value null.
  const columns = record.Columns.map((column) => [column.ColumnName, plain(column.Value)])

  for (const [name, value] of columns) {
    if (name === 'amount' && value !== null && !['number', 'bigint'].includes(typeof value)) {
      throw new Error(`its amount '${value}' is not a number`)
    }
  }

  console.log(record.Type, ...[...key, ...columns].map(([name, value]) => `${name}=${value}`))
}

// plain is a value of the event as JavaScript has it.
function plain(value) {
  if (value === null || typeof value !== 'object') return value
  if ('Base64' in value) return Buffer.from(value.Base64, 'base64') // a blob
  return Number(value.Double) // NaN and the infinities, which JSON lacks
}

// invoke handles a batch. The answer names the records that failed: they come
// again, with those of the same row behind them. The others are done.
async function invoke(event) {
  const failures = []
  for (const record of event.Records) { // in their order
    try {
      await handle(record)
    } catch (failure) {
      console.log(`record ${record.Id} of batch ${event.Batch.Id} failed: ${failure.message}`)
      failures.push({ itemIdentifier: record.Id })
    }
  }
  return { batchItemFailures: failures }
}

// digits keeps all digits of an integer too large for a number, as a BigInt.
// Node before version 22 has no source here, and rounds it.
function digits(_, value, context) {
  const large = typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)
  return large && /^-?\d+$/.test(context?.source) ? BigInt(context.source) : value
}

const server = http.createServer(async (request, response) => {
  let status = 200
  let answer
  try {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    answer = await invoke(JSON.parse(Buffer.concat(chunks).toString(), digits))
  } catch (failure) { // fails the whole batch
    console.error(failure)
    status = 404
    answer = { errorType: failure.name, errorMessage: failure.message }
  }
  // Without x-fc-status Function Compute takes any status for a success.
  response.writeHead(status, { 'Content-Type': 'application/json', 'x-fc-status': String(status) })
  response.end(JSON.stringify(answer))
})

// Function Compute reaches the server from outside: it must listen on every
// address.
server.listen(Number(process.env.FC_SERVER_PORT ?? 9000), '0.0.0.0')
