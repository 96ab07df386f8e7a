//! `docs/booking-api.yaml` as a judge of requests and answers.

use std::{fs, path::Path};

use serde_json::{Value, json};

pub struct Contract(Value);

impl Contract {
    pub fn load() -> Self {
        // Both crates that judge by it lie below the repository's root, at different depths.
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path =
            here.ancestors().map(|folder| folder.join("docs/booking-api.yaml")).find(|path| path.is_file());
        Self(serde_yaml::from_str(&fs::read_to_string(path.unwrap()).unwrap()).unwrap())
    }

    /// What a `$ref` points at.
    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    /// Whether the value is as that schema of the document says.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let root = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [schema],
            "components": self.0["components"],
        });
        let validator = jsonschema::options().should_validate_formats(true).build(&root).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    pub fn request_body(&self, body: &Value) -> Result<(), String> {
        self.fits(&json!({"$ref": "#/components/schemas/BookingRequest"}), body)
    }

    /// The operation of a call, and its path parameters.
    fn operation(&self, method: &str, path: &str) -> Option<(&Value, Vec<(String, String)>)> {
        let (item, key) = match path.strip_prefix("/bookings") {
            Some("") => ("/bookings", None),
            Some(rest) => ("/bookings/{key}", Some(rest.strip_prefix('/').filter(|key| !key.is_empty())?)),
            None => return None,
        };
        let operation = self.0["paths"][item].get(method.to_ascii_lowercase())?;
        Some((operation, key.map(|key| ("key".to_owned(), key.to_owned())).into_iter().collect()))
    }

    /// Whether a request is one that the contract describes. Headers have names in lower case.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<(), String> {
        let (operation, in_path) = self.operation(method, path).ok_or("no such operation")?;
        let item = if in_path.is_empty() { "/bookings" } else { "/bookings/{key}" };
        let lists = [&self.0["paths"][item]["parameters"], &operation["parameters"]];
        for parameter in lists.into_iter().filter_map(Value::as_array).flatten() {
            let parameter = self.follow(parameter);
            let name = parameter["name"].as_str().unwrap();
            let given = if parameter["in"] == "path" { &in_path[..] } else { headers };
            let values: Vec<&String> = given
                .iter()
                .filter(|(one, _)| one.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
                .collect();
            let [value] = values[..] else { return Err(format!("{name}: {} times", values.len())) };
            self.fits(&parameter["schema"], &json!(value)).map_err(|fault| format!("{name}: {fault}"))?;
        }
        match operation.get("requestBody") {
            None if body.is_empty() => Ok(()),
            None => Err("a body where none belongs".to_owned()),
            Some(wanted) => {
                let body = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
                self.fits(&wanted["content"]["application/json"]["schema"], &body)
            }
        }
    }

    /// Whether an answer is one that the contract lists; `None` where it has no such operation.
    pub fn answer(
        &self,
        method: &str,
        path: &str,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Option<Result<(), String>> {
        let (operation, _) = self.operation(method, path)?;
        Some(self.listed(operation, status, headers, body))
    }

    fn listed(
        &self,
        operation: &Value,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<(), String> {
        let response = operation["responses"].get(status.to_string());
        let response = self.follow(response.ok_or_else(|| format!("status {status} is not listed"))?);
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = self.follow(header);
            let value = headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
            match value {
                Some((_, value)) => self.fits(&header["schema"], &json!(value))?,
                None if header["required"] == true => return Err(format!("{status} without {name}")),
                None => {}
            }
        }
        match response.get("content") {
            None if body.is_empty() => Ok(()),
            None => Err(format!("{status} with a body")),
            Some(content) => {
                let body = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
                self.fits(&content["application/json"]["schema"], &body)
            }
        }
    }

    /// Every schema that has examples, with them.
    pub fn examples(&self) -> Vec<(&Value, &Value)> {
        let mut found = Vec::new();
        let mut left = vec![&self.0];
        while let Some(value) = left.pop() {
            if let (Some(schema), Some(examples)) = (value.get("schema"), value["examples"].as_object()) {
                found.extend(examples.values().map(|example| (schema, &self.follow(example)["value"])));
            }
            match value {
                Value::Object(members) => left.extend(members.values()),
                Value::Array(items) => left.extend(items),
                _ => {}
            }
        }
        found
    }

    pub fn example(&self, schema: &Value, example: &Value) -> Result<(), String> {
        self.fits(schema, example)
    }
}
