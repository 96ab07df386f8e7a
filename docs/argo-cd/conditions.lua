local health = {status = "Progressing", message = "waiting for the operator"}
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  health.message = "waiting for the operator to see the change"
  return health
end
local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
local function is(name, value)
  return found[name] ~= nil and found[name].status == value
end
local function answer(name, value)
  health.status = value
  health.message = (found[name].reason or "") .. ": " .. (found[name].message or "")
  return health
end
if is("Stalled", "True") then
  return answer("Stalled", "Degraded")
end
if is("Reconciling", "True") then
  return answer("Reconciling", "Progressing")
end
if is("Ready", "True") then
  if obj.spec.suspend == true then
    return answer("Ready", "Suspended")
  end
  return answer("Ready", "Healthy")
end
if is("Ready", "False") then
  return answer("Ready", "Degraded")
end
if found.Ready ~= nil then
  return answer("Ready", "Progressing")
end
return health
