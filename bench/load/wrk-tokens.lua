-- As wrk.lua, with a bearer token in each request: the file named behind "--" holds one a line, and they take turns.

dofile((debug.getinfo(1).source:sub(2):gsub("wrk%-tokens", "wrk")))

local requests = {}
local turn = 0

function init(args)
   for token in io.lines(args[1]) do
      wrk.headers["Authorization"] = "Bearer " .. token
      requests[#requests + 1] = wrk.format()
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end
