#!/usr/bin/env python3
"""Makes a bucket, and a role that may put objects there and nothing else: aws_role.py URL BUCKET ROLE-ARN CA.pem."""
import json, sys
import boto3

url, bucket, arn, ca = sys.argv[1:]
region = "eu-central-1"
session = boto3.Session("AKIAEXAMPLE", "secret", region_name=region)
s3, iam = (session.client(service, endpoint_url=url, verify=ca) for service in ("s3", "iam"))
s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
name = arn.rsplit("/", 1)[1]
trust = {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "*"}}
assert iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"] == arn
grant = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
iam.put_role_policy(RoleName=name, PolicyName="put", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [grant]}))
