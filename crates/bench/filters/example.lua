-- The same filter as sdk-example in Lua. Its ids can be guessed: Lua has no secure random numbers.
local header = "x-request-id"

local function new_id()
  local template = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx"
  return (template:gsub("[xy]", function(digit)
    return string.format("%x", digit == "x" and math.random(0, 15) or math.random(8, 11))
  end))
end

function envoy_on_request(handle)
  local id = handle:headers():get(header)
  if id == nil then
    id = new_id()
    handle:headers():add(header, id)
  end
  handle:streamInfo():dynamicMetadata():set("request_id", "id", id)
end

function envoy_on_response(handle)
  local id = handle:streamInfo():dynamicMetadata():get("request_id")["id"]
  handle:headers():replace(header, id)
end
