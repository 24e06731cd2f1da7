/** `GET /v1/openapi.json`: the API as OpenAPI 3.1, made of the same schemas that its requests are checked with. */

import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

/** Has to be called before the resources are added. */
export async function setOpenApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Landfall admin API', version: '1.0.0' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
  })
  app.get('/v1/openapi.json', { config: { isOpen: true }, schema: { hide: true } }, () => app.swagger())
}
