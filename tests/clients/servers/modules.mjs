// Lets ES modules find packages in NODE_PATH, as require() does: Node looks for theirs in the folders above them only.
import { register } from 'node:module'
import { pathToFileURL } from 'node:url'
import { isMainThread } from 'node:worker_threads'

if (isMainThread) register(import.meta.url)

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context)
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
    return next(specifier, { ...context, parentURL: pathToFileURL(`${process.env.NODE_PATH}/`).href })
  }
}
