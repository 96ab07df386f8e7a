local withdrawn = obj.spec.withdrawn
if withdrawn ~= nil and withdrawn.at ~= nil then
  return {status = "Healthy", message = "withdrawn " .. withdrawn.at}
end
return {status = "Healthy", message = "the consent stands"}
