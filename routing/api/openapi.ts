/** `GET /v1/openapi.json`: the API as OpenAPI 3.1, made of the same schemas that its requests are checked with. */

import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { type ApiDocument, completeDocument } from './openapi-document.ts'
import { refuseOtherMethods } from './problems.ts'
import { withProblems } from './schemas.ts'

const ADDRESS = '/v1/openapi.json'

/** Has to be called before the resources are added. */
export async function setOpenApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Landfall admin API',
        version: '1.0.0',
        description:
          'Pools, the VMs in them, and the host names that lead to them. GET /llms.txt is the short form.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description:
              'A token that POST /v1/tokens made, or a JWT for this host name that a user signed with a registered SSH key',
          },
        },
      },
      security: [{ token: [] }],
    },
    transform: ({ schema, url, route }) => ({
      schema: route.config?.isOpen ? { ...schema, security: [] } : schema,
      url,
    }),
    transformObject: (made) =>
      'openapiObject' in made ? completeDocument(made.openapiObject as ApiDocument) : made.swaggerObject,
  })
  const schema = withProblems({
    summary: 'This document',
    response: { 200: Type.Object({}, { description: 'The API as OpenAPI 3.1' }) },
  })
  let text: string | undefined
  app.get(ADDRESS, { config: { isOpen: true }, schema }, (_request, reply) => {
    // It does not change, and anybody may ask for it: 0.6 ms each time would be a way to burn CPU.
    text ??= JSON.stringify(documentOf(app))
    return reply.type('application/json').header('cache-control', 'public, max-age=300').send(text)
  })
  refuseOtherMethods(app, ADDRESS, ['GET', 'HEAD'])
}

/** Once the API is ready. */
export function documentOf(app: FastifyInstance): ApiDocument {
  return app.swagger() as object as ApiDocument
}
