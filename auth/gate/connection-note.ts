/** What came last on a connection, and what it was decided to be. */

import type { IdentityPassage } from './passages.ts'

export interface NotedRequest {
  readonly fields: {
    readonly cookie: string
    readonly authorization: string
    readonly authorizationCount: number
    readonly ownAuthorization: string
    readonly ownAuthorizationCount: number
  }
}

/** The fields are compared as they came: most requests of a connection repeat them. */
export class ConnectionNote {
  readonly cookie: string
  readonly authorization: string
  readonly ownAuthorization: string
  readonly isCookie: boolean
  readonly passage: IdentityPassage

  constructor({ fields }: NotedRequest, isCookie: boolean, passage: IdentityPassage) {
    this.cookie = fields.cookie
    this.authorization = fields.authorization
    this.ownAuthorization = fields.ownAuthorization
    this.isCookie = isCookie
    this.passage = passage
  }

  isOf({ fields }: NotedRequest): boolean {
    return (
      fields.cookie === this.cookie &&
      fields.authorization === this.authorization &&
      fields.ownAuthorization === this.ownAuthorization &&
      fields.authorizationCount < 2 &&
      fields.ownAuthorizationCount < 2
    )
  }
}
