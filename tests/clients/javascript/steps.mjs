// AWS's SDK for JavaScript: a cluster, a step and their waiters. node steps.mjs LABEL BUCKET
import {
  AddJobFlowStepsCommand, DescribeStepCommand, EMRClient, paginateListInstances, RunJobFlowCommand,
  TerminateJobFlowsCommand, waitUntilClusterRunning, waitUntilClusterTerminated, waitUntilStepComplete,
} from "@aws-sdk/client-emr";

const [label, bucket] = process.argv.slice(2);
const client = new EMRClient({});
const patience = { client, minDelay: 1, maxDelay: 1, maxWaitTime: 600 };

const { JobFlowId: ClusterId } = await client.send(new RunJobFlowCommand({
  Name: "javascript",
  ReleaseLabel: label,
  Applications: [{ Name: "Spark" }],
  LogUri: `s3://${bucket}/emrlab-logs/`,
  JobFlowRole: "EMR_EC2_DefaultRole",
  ServiceRole: "EMR_DefaultRole",
  Instances: {
    InstanceFleets: [
      { InstanceFleetType: "MASTER", TargetOnDemandCapacity: 1, InstanceTypeConfigs: [{ InstanceType: "m5.xlarge" }] },
      { InstanceFleetType: "CORE", TargetOnDemandCapacity: 1, InstanceTypeConfigs: [{ InstanceType: "m5.xlarge" }] },
    ],
    KeepJobFlowAliveWhenNoSteps: true,
  },
}));
await waitUntilClusterRunning(patience, { ClusterId });
const { StepIds: [StepId] } = await client.send(new AddJobFlowStepsCommand({
  JobFlowId: ClusterId,
  Steps: [{
    Name: "pi",
    ActionOnFailure: "CONTINUE",
    HadoopJarStep: { Jar: "command-runner.jar", Args: ["run-example", "SparkPi", "4"] },
  }],
}));
await waitUntilStepComplete(patience, { ClusterId, StepId });
const { Step } = await client.send(new DescribeStepCommand({ ClusterId, StepId }));
let machines = 0;
for await (const page of paginateListInstances({ client }, { ClusterId })) machines += page.Instances.length;
await client.send(new TerminateJobFlowsCommand({ JobFlowIds: [ClusterId] }));
await waitUntilClusterTerminated(patience, { ClusterId });
console.log(ClusterId, StepId, Step.Status.State, machines);
