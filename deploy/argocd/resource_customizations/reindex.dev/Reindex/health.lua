-- How Argo CD reads a Reindex: Progressing, Healthy, Degraded or Suspended.
local function condition(type)
  for _, found in ipairs(obj.status.conditions or {}) do
    if found.type == type and found.status == "True" then
      return found
    end
  end
end

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen this generation yet" }
end
local healths = {
  { "Failed", "Degraded" },
  { "Complete", "Healthy" },
  { "Planned", "Healthy" },
  { "Suspended", "Suspended" },
  { "Stalled", "Degraded" },
  { "Reconciling", "Progressing" },
}
for _, entry in ipairs(healths) do
  local found = condition(entry[1])
  if found ~= nil then
    return { status = entry[2], message = found.reason .. ": " .. found.message }
  end
end
return { status = "Progressing", message = "" }
