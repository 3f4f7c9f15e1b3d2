-- How Argo CD reads a SearchCluster: Healthy where it answers and allows what Reindexes need.
local function condition(type)
  for _, found in ipairs(obj.status.conditions or {}) do
    if found.type == type then
      return found
    end
  end
end

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen this generation yet" }
end
local ready = condition("Ready")
if ready ~= nil and ready.status == "False" then
  return { status = "Degraded", message = ready.reason .. ": " .. ready.message }
end
for _, entry in ipairs({ { "Stalled", "Degraded" }, { "Reconciling", "Progressing" } }) do
  local found = condition(entry[1])
  if found ~= nil and found.status == "True" then
    return { status = entry[2], message = found.reason .. ": " .. found.message }
  end
end
if ready ~= nil and ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
return { status = "Progressing", message = "" }
